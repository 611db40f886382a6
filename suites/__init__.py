"""What a DRA GPU driver must do: one folder an area, one file a topic, one function a check."""
