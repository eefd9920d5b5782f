"""What restic, Borg and others call something, and what it is here."""

COMMANDS = {
    "cache": "nothing; caches look after themselves, and --cache-dir says where they are",
    "compact": "'backapp prune'",
    "create": "'backapp backup'",
    "delete": "'backapp forget'",
    "extract": "'backapp restore'",
    "generate": "'backapp completion'",
    "help": "'backapp COMMAND --help'",
    "info": "'backapp stats'",
    "list": "'backapp snapshots', 'backapp key list', or 'backapp cat'",
    "migrate": "'backapp copy', into a new repository",
    "rebuild-index": "'backapp repair index'",
    "self-update": "'pip install --upgrade backapp'",
    "umount": "'umount', or Ctrl-C where 'backapp mount' runs",
}
OPTIONS = {
    "--cacert": "here it is 'ca_bundle' in the settings file",
    "--compact": "not here; --json has every field",
    "--delete": "not here: entries that the snapshot lacks stay where they are",
    "--ignore-ctime": "not here: a file of which only that differs is read again",
    "--ignore-inode": "not here: a file of which only that differs is read again",
    "--no-cache": "here it is '--cache-dir' with a folder that you throw away",
    "--no-lock": "not needed: a repository that cannot be written is read without a lock",
    "--pack-size": "not here: packs have 16 MiB and more",
    "--repository-file": "here it is $BACKAPP_REPOSITORY_FILE",
    "--verify": "not needed: contents are verified while they are written",
}
