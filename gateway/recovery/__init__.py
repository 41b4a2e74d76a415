"""After a restore that lost data: what is proved to be lost, and how two parties go on from there.

The anchor outside of the database proves that there was more; the copies of files that went to the
banks prove what of it was paid. `loss` compares, `acknowledge` keeps who has seen it, and then sees
to it that nothing in a lost file is paid a second time.
"""
