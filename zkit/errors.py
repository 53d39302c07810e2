"""The one exception for mistakes a user can mend."""


class ZkitError(ValueError):
    """Bad input or a broken environment; the message names the thing at fault and the remedy.

    The command line prints the message alone and exits with status 2.
    """
