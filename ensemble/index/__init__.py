"""An index: a catalog that grows. New listings are searched against all, and what they touch is matched again."""
