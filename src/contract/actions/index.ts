export { listProposals, type Proposal, proposalId } from './board.ts'
export { whyClosed } from './closed.ts'
export type { Receipt } from './deliver.ts'
export {
  type Consent,
  type DeploymentStatus,
  exportLog,
  listDeployments,
  readConsent,
  readDeployment,
  type SlotStatus,
} from './deployments.ts'
export { coins } from './fees.ts'
export { freeze } from './freeze.ts'
export { type Grid, notFinalYet, openGrid } from './grid.ts'
export {
  contractMembers,
  createGroup,
  draftMembership,
  FREEZE_SECONDS,
  type GroupTerms,
  listGroups,
  membersOf,
  type NewMember,
  placeOf,
  readGroup,
  readSets,
} from './groups.ts'
export type { LedgerEvent } from './logs.ts'
export {
  createFarm,
  listFarms,
  listNodes,
  type Node,
  type NodeDescription,
  nodeOfKey,
  readNode,
  registerNode,
  seenOf,
  sendBeats,
  signBeat,
} from './nodes.ts'
export {
  approve,
  type Draft,
  draftTransition,
  propose,
  type Signed,
  signProposal,
  submit,
} from './proposals.ts'
export { codeHashOf, type Proven, proveDeployment } from './prove.ts'
export { type Readers, readReaders } from './readers.ts'
export {
  type Booked,
  bookedOn,
  type FarmersWord,
  NODE_STATES,
  type Reclaimed,
  readFarmersWords,
  reclaimSlot,
  setNodeState,
  takenBackBy,
} from './reclaim.ts'
export { deployContracts, openRelayer, type Relayer } from './relayer.ts'
export {
  drained,
  expire,
  placedOn,
  type Report,
  type Reported,
  readReports,
  readWords,
  type SignedReport,
  sendReport,
  signReport,
  slotKeyOf,
  type Word,
} from './slots.ts'
export type { Subject } from './subject.ts'
export { type Batch, type Cursor, poll, watch } from './watch.ts'
