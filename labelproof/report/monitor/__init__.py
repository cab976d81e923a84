"""What production does against what was promised: measurements, alarms, escalation."""
