"""Reports of finished evaluations: comparison tables, drawings and the HTML page."""
