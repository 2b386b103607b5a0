"""The console: HTML pages for customers and operators, which call the services of the API."""
