/* SPDX-License-Identifier: GPL-2.0 */
/* The x86 ioctls: rows of all rooms go into the tables at load. */
#ifndef STRATA_X86_IOCTL_H
#define STRATA_X86_IOCTL_H

#include "event/abi.h"

struct vcpu;

int x86_ioctls_init(void);

/* Which ABI the VM's userspace asked for */
struct event_abi vcpu_event_abi(struct vcpu *v);

/**
 * vcpu_post() - put an event into a vCPU's inbox
 * @v: the vCPU
 * @bit: INBOX_*
 *
 * Any thread. The run loop drains it; a vCPU in the guest is interrupted for it.
 */
void vcpu_post(struct vcpu *v, unsigned int bit);
/* vcpu_post_nmi(): one more NMI, at most two. */
void vcpu_post_nmi(struct vcpu *v);

#endif
