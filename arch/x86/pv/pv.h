/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The KVM paravirtual interfaces: kvmclock, steal time, PV EOI, hypercalls.
 *
 * A guest names a page by an MSR. Setting an MSR from userspace touches no guest memory: pages are
 * looked up by address whenever they are written, by the vCPU's own thread on its way into the
 * guest.
 */
#ifndef STRATA_PV_H
#define STRATA_PV_H

#include "apf.h"
#include "scale.h"

#include <linux/spinlock.h>
#include <linux/types.h>

struct vm;
struct vcpu;
struct cpuid_table;

/**
 * struct vm_clock - the clock of a VM: KVM_GET/SET_CLOCK and what kvmclock pages say
 * @lock: the fields below
 * @by_tsc: it runs with the host's TSC from one anchor on, the same for all vCPUs; else it follows
 *	the boot-time clock
 * @changes: (a) counts changes of vCPUs' TSCs
 * @seen: the last of them that @in_step and the rate take into account
 * @in_step: the TSCs of all vCPUs read alike, so that a page of one serves all of them
 * @tsc: the anchor: host TSC
 * @ns: the anchor: the clock
 * @host_khz: the host's TSC rate, which its kernel measures again after boot
 * @ratio: TSC scaling of the rate (0: none)
 * @khz: rate after scaling
 * @scale: the same as a factor
 * @boot: the clock minus the boot-time clock, at the anchor
 * @restarts: tsc_host_shift() at the anchor
 * @pages: (a) vCPUs that had a page; never goes down
 * @wall_page: MSR_KVM_WALL_CLOCK
 */
struct vm_clock {
	raw_spinlock_t lock;
	bool by_tsc;
	bool in_step;
	atomic_t changes;
	unsigned int seen;
	u64 tsc;
	u64 ns;
	u64 ratio;
	u32 host_khz;
	u32 khz;
	struct pv_scale scale;
	u64 boot;
	u64 restarts;
	atomic_t pages;
	u64 wall_page;
};

/**
 * struct vcpu_pv - paravirtual state of a vCPU; (v)
 * @features: KVM_FEATURE_* bits of the guest's CPUID
 * @enforce: KVM_CAP_ENFORCE_PV_FEATURE_CPUID: what CPUID does not offer is not there
 * @clock_page: MSR_KVM_SYSTEM_TIME
 * @clock_counted: it is in vm_clock.pages
 * @clock_stopped: the guest is to be told that it was paused (KVM_KVMCLOCK_CTRL)
 * @clock_last: the clock that was last published; only where there is no common anchor
 * @steal_page: MSR_KVM_STEAL_TIME
 * @steal_thread: whose waiting time @steal_seen is; never dereferenced
 * @steal_seen: how much of it the guest was told
 * @preempted: (a) the page says that the vCPU does not run
 * @eoi_page: MSR_KVM_PV_EOI_EN
 * @eoi_offered: the guest may end the interrupt in service by clearing a bit of that page
 * @vapic: the guest may change its TPR in memory (irqchip/vapic.c)
 * @poll: MSR_KVM_POLL_CONTROL
 * @kicked: (a) a KVM_HC_KICK_CPU came: the next HLT does not wait
 * @apf: asynchronous page faults, see there
 */
struct vcpu_pv {
	u32 features;
	bool enforce;
	bool clock_counted;
	bool clock_stopped;
	bool preempted;
	bool eoi_offered;
	bool vapic;
	bool kicked;
	u64 clock_page;
	u64 clock_last;
	u64 steal_page;
	const void *steal_thread;
	u64 steal_seen;
	u64 eoi_page;
	u64 poll;
	struct vcpu_apf apf;
};

#define PV_PAGE_ON	1ull	/* KVM_MSR_ENABLED */

/* May the guest use KVM_FEATURE_*? */
bool pv_has(const struct vcpu *v, unsigned int feature);
/* KVM_FEATURE_* bits that are offered */
u32 pv_offered(void);
/*
 * Entries of KVM_SET_CPUID2 before they are the vCPU's: without a local APIC in the kernel, what
 * needs it is taken out. Returns the KVM_FEATURE_* bits that are left, those of pv_offered() if
 * there are no entries.
 */
u32 pv_cpuid_features(const struct vcpu *v, struct cpuid_table *t);

void pv_vm_init(struct vm *vm);
void pv_vcpu_init(struct vcpu *v);
/* RESET or INIT: no page is written any more. */
void pv_reset(struct vcpu *v);

/* The MSRs; 0, or 1 for #GP. The guest's write may sleep. */
int pv_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host);
int pv_set_msr(struct vcpu *v, u32 msr, u64 val, bool host);

/* The vCPU, with a page, comes to a CPU; preemption off. */
void pv_load(struct vcpu *v, int cpu);

/* ---- clock.c ---- */

void clock_vm_init(struct vm *vm);
/* A TSC, its rate or the set of vCPUs changed; @v: whose TSC, or NULL. Any context. */
void clock_tsc_changed(struct vm *vm, struct vcpu *v);
/* REQ_CLOCK: write this vCPU's page. May sleep. */
void clock_update(struct vcpu *v);
/* MSR_KVM_SYSTEM_TIME was written. */
void clock_page_set(struct vcpu *v);
/* The guest asks for the wall clock at its clock's zero. May sleep. */
void clock_write_wall(struct vcpu *v, u64 gpa);

/* ---- steal.c ---- */

/* The vCPU comes to a CPU; preemption off. */
void steal_load(struct vcpu *v);
/* The scheduler takes the thread off its CPU; no sleeping. */
void steal_sched_out(struct vcpu *v);
/*
 * REQ_STEAL: the page is brought up to date, and a TLB flush that was asked for there is done. May
 * sleep.
 */
void steal_update(struct vcpu *v);

/* ---- eoi.c ---- */

/* An interrupt of the local APIC is going in; interrupts off. */
void eoi_offer(struct vcpu *v, u8 vector);
/*
 * The guest was left: find out whether it ended the interrupt. Without @sleep false if the page is
 * not at hand.
 */
bool eoi_collect(struct vcpu *v, bool sleep);

/* ---- hypercall.c ---- */

/**
 * pv_hypercall() - what the guest asks in RAX, RBX, RCX, RDX, RSI
 * @v: the vCPU
 * @fast: interrupts are off
 * @ret: the answer
 *
 * Return: false if it has to be done with interrupts on.
 */
bool pv_hypercall(struct vcpu *v, bool fast, long *ret);

#endif
