"""The names of the revision files, read without Alembic, give the revisions that Alembic reads."""

from alembic.script import ScriptDirectory

from crm_api.platform import migration_runner, schema_revisions


def test_revisions_in_file_names_are_those_that_alembic_reads() -> None:
    scripts = ScriptDirectory.from_config(migration_runner.config())
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert schema_revisions.head_revision() == scripts.get_current_head()
    assert all(schema_revisions.knows(revision) for revision in revisions)
