"""The HTML report: one file that loads nothing. `view` says what it shows, `page.html` how."""
