"""Where the tasks of a run are done: engines know tasks and stores only."""
