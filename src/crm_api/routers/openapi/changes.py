"""What a PATCH takes: a field that is left out stays as it is."""

from crm_api.routers.openapi.walking import Node, operations


def drop_defaults_of_changes(document: Node) -> None:
    """Take the defaults out of what changes something.

    They are the model's, for fields that were left out and are not looked at. A generated client
    would send them, and set back what its user did not name.
    """
    schemas: Node = document["components"]["schemas"]
    for _, method, operation in operations(document):
        if method != "patch":
            continue
        for content in operation["requestBody"]["content"].values():
            name = content["schema"]["$ref"].rpartition("/")[2]
            for field in schemas[name]["properties"].values():
                field.pop("default", None)
