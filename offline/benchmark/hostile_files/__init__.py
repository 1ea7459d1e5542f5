"""Files as confused and hostile people hand them over: feeds, data sets, bundles and backups."""
