"""Read listings: tables, images, titles, public data sets, and the split."""
