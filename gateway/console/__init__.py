"""The public pages: the book of each fund for anybody with a browser. It only reads."""
