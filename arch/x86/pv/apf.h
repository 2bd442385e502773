/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Asynchronous page faults: what a vCPU's guest was told of pages that the host does not have in
 * memory.
 */
#ifndef STRATA_PV_APF_H
#define STRATA_PV_APF_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct vcpu;

/**
 * struct vcpu_apf - asynchronous page faults of a vCPU; (v) but for what @lock covers
 * @en: MSR_KVM_ASYNC_PF_EN
 * @vector: MSR_KVM_ASYNC_PF_INT
 * @on: the guest wants them, with interrupts for the pages that came
 * @unacked: the guest was told of a page and has not acknowledged it
 * @wake_all: all its tasks that wait are to look again
 * @last: number of the last token
 * @lock: the fields below
 * @epoch: pages of earlier ones are nobody's any more
 * @nr: pages on their way, or come and not told yet
 * @come: pages that the guest is to be told of
 */
struct vcpu_apf {
	u64 en;
	u64 vector;
	bool on;
	bool unacked;
	bool wake_all;
	u32 last;
	spinlock_t lock;
	u32 epoch;
	u32 nr;
	struct list_head come;
};

int apf_module_init(void);
void apf_module_exit(void);
void apf_vcpu_init(struct vcpu *v);
void apf_vcpu_destroy(struct vcpu *v);
/* RESET or INIT */
void apf_reset(struct vcpu *v);

/**
 * apf_start() - let the guest do something else while a page comes
 * @v: the vCPU whose access met it, with apf.on
 * @gpa: of the access
 * @hva: the page's userspace address
 * @write: the access writes
 *
 * The guest gets the page fault that says so, if it can take one now. May sleep.
 * Return: false if it has to wait.
 */
bool apf_start(struct vcpu *v, u64 gpa, unsigned long hva, bool write);
/* REQ_APF: tell the guest of a page that has come. May sleep. */
void apf_update(struct vcpu *v);

/* The MSRs; 0, or 1 for #GP */
int apf_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host);
int apf_set_msr(struct vcpu *v, u32 msr, u64 val, bool host);

#endif
