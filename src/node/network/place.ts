import { join } from 'node:path'

/** Of a node's run folder: links to the cards of running workloads; the network plane's calls about the overlay. */
export const cardsDir = (run: string): string => join(run, 'cards')
export const overlaySocket = (run: string): string => join(run, 'overlay.sock')
