export {
  approve,
  type Batch,
  type Booked,
  bookedOn,
  type Consent,
  type Cursor,
  codeHashOf,
  coins,
  contractMembers,
  createFarm,
  createGroup,
  type DeploymentStatus,
  type Draft,
  deployContracts,
  draftMembership,
  draftTransition,
  drained,
  expire,
  exportLog,
  type FarmersWord,
  FREEZE_SECONDS,
  freeze,
  type Grid,
  type GroupTerms,
  type LedgerEvent,
  listDeployments,
  listFarms,
  listGroups,
  listNodes,
  listProposals,
  membersOf,
  type NewMember,
  NODE_STATES,
  type Node,
  type NodeDescription,
  nodeOfKey,
  notFinalYet,
  openGrid,
  openRelayer,
  type Proposal,
  type Proven,
  placedOn,
  placeOf,
  poll,
  proposalId,
  propose,
  proveDeployment,
  type Readers,
  type Receipt,
  type Reclaimed,
  type Relayer,
  type Report,
  type Reported,
  readConsent,
  readDeployment,
  readFarmersWords,
  readGroup,
  readNode,
  readReaders,
  readReports,
  readSets,
  readWords,
  reclaimSlot,
  registerNode,
  type SignedReport,
  type SlotStatus,
  type Subject,
  seenOf,
  sendBeats,
  sendReport,
  setNodeState,
  signBeat,
  signProposal,
  signReport,
  slotKeyOf,
  submit,
  takenBackBy,
  type Word,
  watch,
} from './actions/index.ts'
export { migrationOf, resealOf, undoOf } from './approval/draft.ts'
export type { ConsentCode } from './approval/error.ts'
export { type ApprovalLog, decodeLog, deploymentOf, encodeLog, type VerifiedLog, verifyLog } from './approval/log.ts'
export { applySet, type Evidence, foundGroup, type GroupState } from './approval/set.ts'
export { applyApproval, applyFreeze, type ConsentState, carriesSpec, noConsent, thresholdOf } from './approval/step.ts'
export { type ConnectOptions, connectRpc } from './engine/connect.ts'
export { type ChainOptions, openEmbedded } from './engine/open.ts'
export type { EmbeddedEngine, Engine, Head } from './engine/types.ts'
export { type Key, keyOf, listKeys, openKey, type PublicKey, readPublicKey } from './keys/keys.ts'
export { describe, diffSpecs, type Known } from './spec/describe.ts'
export { leafOf, merkleRoot, type Reserved, type SlotNetwork, type SlotSpec } from './spec/leaf.ts'
export { parseSpec } from './spec/parse.ts'
export {
  type Geo,
  isForbidden,
  keyOfSlot,
  lackOf,
  type Placed,
  type PlaceOptions,
  placeSlots,
  sayResources,
} from './spec/place.ts'
export { LEAST_VOLUME_MIB, type Spec, type Workload } from './spec/schema.ts'
export {
  type Expected,
  openSealed,
  openText,
  type Salted,
  type Sealed,
  salted,
  sealSpecs,
  sealText,
} from './spec/seal.ts'
export { DISK_MIB, resourcesOf, rulesOf, slotsOf, type WantedSlot } from './spec/slots.ts'
export { countryHex, countryOf, type Domain, deploymentId, digestOf, groupOf, typedData, ZERO } from './typed/digest.ts'
export { type HubPass, hubDomain, openHubPass, signHubPass } from './typed/hub_key.ts'
export { passkeySigner, type SignerKind, signerKind, signerOf } from './typed/passkey.ts'
export {
  type Ack,
  type Beat,
  type Freeze,
  KINDS,
  type Kind,
  type Member,
  type MemberSet,
  MODE,
  PHASE,
  type Registration,
  type Resources,
  ROLE,
  type Rules,
  type Signature,
  type Slot,
  STATE,
  type Transition,
} from './typed/schema.ts'
export { carryWords, type WordCarrier } from './words/carry.ts'
export {
  type Answer,
  formatAnswer,
  formatWord,
  MAX_WORD,
  parseAnswer,
  parseWord,
  WORDS_TOPIC,
  type Word as SignedWord,
} from './words/form.ts'
export { isHeld } from './words/held.ts'
