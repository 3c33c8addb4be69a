"""When the law lets a text leave: rules as data, and what follows from them."""
