"""What people read: the static site and the replay to W&B. Reads only files that stages wrote."""
