"""What a reader sees: verdict, tables, figures and the page, all made from saved results."""
