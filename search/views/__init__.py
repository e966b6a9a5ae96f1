"""What people see of sweeps: tables, pages and words, and which observation they mean when they name one."""
