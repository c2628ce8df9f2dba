"""From what a run left behind (its record, journals, load rows, TSDB) to the values of the report.

Everything here reads files and asks the monitoring; nothing depends on the process that ran the rehearsal, so
the report of a killed run is made by the same code from the same directory.
"""
