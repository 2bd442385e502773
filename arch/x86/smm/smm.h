/* SPDX-License-Identifier: GPL-2.0 */
/*
 * System management mode: entered for an SMI that the event core has decided to take, left by RSM.
 *
 * Being in SMM is v->events.smm, and nothing else; what depends on it (the address space,
 * intercepts) follows by smm_follow().
 */
#ifndef STRATA_SMM_H
#define STRATA_SMM_H

#include "../strata.h"
#include "../emulate/emulate.h"

/**
 * smm_enter() - STEP_SMI: store the state in SMRAM, start the handler
 * @v: the vCPU, outside the guest, srcu held; the queue is in SMM already
 *
 * APM "SMM Operating-Environment", SDM "SMI Handler Execution Environment". May sleep.
 *
 * Return: EXIT_RESUME, or EXIT_TO_USER with KVM_EXIT_INTERNAL_ERROR if there is no memory to store
 * it in: then the vCPU is as it was before, with the SMI pending. From L2 the vCPU goes to L1's
 * level, and L1's state into guest memory, too.
 */
enum exit_result smm_enter(struct vcpu *v);

/**
 * smm_rsm() - RSM, as the emulator's callback
 * @v: the vCPU, srcu held
 * @e: the emulation: gets the registers of the interrupted program
 *
 * APM "Leaving SMM". A save area that fails a check is a triple fault, pending in the queue; the
 * vCPU stays in SMM. May sleep.
 *
 * Return: EMU_OK; EMU_FAULT (#UD) outside SMM; EMU_RETRY with the triple fault.
 */
enum emu_status smm_rsm(struct vcpu *v, struct emu *e);

/**
 * smm_follow() - v->events.smm has changed, or may have
 * @v: the vCPU, loaded if the backend's registers need that
 */
void smm_follow(struct vcpu *v);

#endif
