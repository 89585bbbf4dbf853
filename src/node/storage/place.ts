/** Exit code of a plane that cannot be on this machine as it is: the last line it wrote says why. */
export const NO_START = 3

/** In a home's folder: held by its one storage plane, however long that takes to answer. */
export const STORAGE_LOCK = 'storage.lock'
