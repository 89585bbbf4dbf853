import { join } from 'node:path'
import { confinable, OPENING_WRITES } from '#sys'

/**
 * Of the network plane's process: all of its threads take memory from one heap. By itself glibc gives each its own and keeps there
 * what that thread has freed, 2 MB; no packet needs memory of C.
 */
export const ENVIRONMENT = { MALLOC_ARENA_MAX: '1' }

/** Node's flags for it: it writes to its folder RUN alone, besides compiled code; nor to its own memory, which is a file too. */
export const flags = (run: string): string[] => confinable(run, ...OPENING_WRITES)

/** Of a node's run folder: links to the cards of running workloads; the network plane's calls about the overlay. */
export const cardsDir = (run: string): string => join(run, 'cards')
/** Of a node's run folder: where its storage plane serves what it has to other nodes. */
export const CHUNKS_SOCKET = 'chunks.sock'
export const overlaySocket = (run: string): string => join(run, 'overlay.sock')
