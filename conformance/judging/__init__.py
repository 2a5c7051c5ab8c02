"""How a result is judged: verdict rules, the tolerance table, errors, diagnosis, accuracy rows."""
