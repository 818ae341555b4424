"""The script of the job on AWS Glue: it only starts `shopstream.lake.spark`, which comes in a zip.

The job's arguments are that module's; what Glue adds to them is left alone.
"""

import sys

from shopstream.lake.spark import main

if __name__ == "__main__" and (code := main(sys.argv[1:])):
    raise SystemExit(code)  # Glue takes any exit for a failure, one with 0 too
