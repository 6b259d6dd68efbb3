"""Small models trained here and shipped, with the recipes that trained them; none yet."""
