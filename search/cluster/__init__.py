"""What a cluster needs beside Ray: a check of its file, who may reach it, its record, and workers where spot is out."""
