"""What comes from the banks: status reports and statements, taken in whole or put in quarantine."""
