"""Read listings: tables, images, public data sets, and the split."""
