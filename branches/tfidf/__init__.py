"""The TF-IDF branch: titles that share rare words and character sequences, without a trained model."""
