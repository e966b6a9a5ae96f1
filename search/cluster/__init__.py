"""What a cluster needs beside Ray: its file checked, who may reach it, its record, workers without spot, parcels."""
