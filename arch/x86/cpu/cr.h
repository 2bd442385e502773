/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Control registers, KVM_GET/SET_REGS and SREGS, and the synchronised registers of struct kvm_run.
 */
#ifndef STRATA_CR_H
#define STRATA_CR_H

#include "cr_check.h"

struct vcpu;
struct kvm_vcpu_events;

/*
 * MOV to a control register, WRMSR(EFER) and XSETBV by the guest: check, apply. 0, or 1 for #GP
 * (nothing changed). The caller has checked the privilege level for MOV; cr_set_xcr() does it
 * itself.
 */
int cr_set_cr0(struct vcpu *v, unsigned long val);
int cr_set_cr3(struct vcpu *v, u64 val);
int cr_set_cr4(struct vcpu *v, unsigned long val);
int cr_set_cr8(struct vcpu *v, unsigned long val);
/* @host: userspace's KVM_SET_MSRS: LMA too, and LME while paging is on as KVM_SET_SREGS may */
int cr_set_efer(struct vcpu *v, u64 val, bool host);
int cr_set_xcr(struct vcpu *v, u32 index, u64 val);

/* XCR0 of userspace or of the guest, already checked */
void cr_apply_xcr0(struct vcpu *v, u64 val);

/* IA32_APIC_BASE: 0, or 1 for #GP (for userspace: rejected) */
int apic_base_set(struct vcpu *v, u64 val, bool host);

/* The PAE page-directory pointers are in use: paging, PAE, not long mode. */
bool cr_pae_paging(struct vcpu *v);

/* What the guest's CPUID allows, for a whole set of registers */
struct cr_limits cr_limits_of(struct vcpu *v);

/* Load all of them at once, already checked; PAE page-directory pointers are the caller's. */
void cr_load(struct vcpu *v, unsigned long cr0, unsigned long cr3, unsigned long cr4, u64 efer);

/**
 * cr_check_sregs() - may this set of registers be?
 * @v: the vCPU
 * @sregs: as userspace gave it
 *
 * Changes nothing. Return: 0 or -EINVAL.
 */
int cr_check_sregs(struct vcpu *v, const struct kvm_sregs *sregs);

/*
 * Apply what cr_check_sregs() accepted; interrupt_bitmap is not looked at. Cannot fail, touches no
 * guest memory.
 */
void cr_apply_sregs(struct vcpu *v, const struct kvm_sregs *sregs);

/**
 * cr_settle() - what KVM_SET_SREGS left for the next KVM_RUN
 * @v: the vCPU, srcu held
 *
 * Loads PAE page-directory pointers from guest memory if SET_SREGS changed the mode. Only when
 * cpu.pdptr_stale is set.
 * Return: 0, or -EINVAL: they have reserved bits set or are not in memory; cpu.pdptr_stale stays
 * set.
 */
int cr_settle(struct vcpu *v);

/* struct kvm_run's synchronised registers: after and before a run. load: 0 or -EINVAL. */
void sync_regs_store(struct vcpu *v);
int sync_regs_load(struct vcpu *v);

/* What KVM_GET/SET_VCPU_EVENTS do; the synchronised registers carry them too. set: 0 or -EINVAL. */
void vcpu_events_get(struct vcpu *v, struct kvm_vcpu_events *events);
int vcpu_events_set(struct vcpu *v, const struct kvm_vcpu_events *events);


#endif
