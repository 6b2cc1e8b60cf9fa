"""The hosts: those that the page has added, the way in by SSH, and how each is doing."""
