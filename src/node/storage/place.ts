/** In a home's folder: held by its one storage plane, however long that takes to answer. */
export const STORAGE_LOCK = 'storage.lock'
