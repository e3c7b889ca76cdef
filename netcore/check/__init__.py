"""Check a finished study: `netcore verify` compares its files with each other, `netcore replay` trains again."""
