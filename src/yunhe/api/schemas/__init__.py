"""The shapes of requests and answers, one module per noun; what each field means is written at the records."""
