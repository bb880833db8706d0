"""What the workshop needs beside the product itself."""
