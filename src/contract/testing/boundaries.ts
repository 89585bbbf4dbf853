/** Where a block on its way to the disk can be interrupted, in order: the journal's frame, its fsync, the state's commit. */
export const BOUNDARIES = [
  'before-write',
  'half-written',
  'before-sync',
  'after-sync',
  'before-state',
  'before-commit',
  'after-commit',
]
