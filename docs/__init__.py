"""The documentation, and the script that writes its generated page."""
