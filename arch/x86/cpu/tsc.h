/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest TSC.
 */
#ifndef STRATA_TSC_H
#define STRATA_TSC_H

#include <linux/spinlock.h>
#include <linux/types.h>

struct vcpu;
struct vm;

/**
 * struct vm_tsc - what the vCPUs of a VM agree about; (c) lock, the rest under it
 * @lock: the fields below
 * @write_ns: boot-time clock at the last write of a TSC by userspace
 * @write_val: what was written
 * @write_khz: guest rate of the vCPU it was written to
 * @offset: offset it got; the same value written soon after to another vCPU gets it too
 * @valid: there was a write, or a vCPU began
 * @by_user: there was one of userspace's other than 0
 */
struct vm_tsc {
	raw_spinlock_t lock;
	u64 write_ns;
	u64 write_val;
	u32 write_khz;
	u64 offset;
	bool valid;
	bool by_user;
};

/* TSC as the guest sees it when the host's is @host_tsc */
u64 tsc_guest(struct vcpu *v, u64 host_tsc);
/* Host TSC scaled to the guest's rate, without the offset */
u64 tsc_scale(struct vcpu *v, u64 host_tsc);
/* The same for a ratio, 0 for none */
u64 tsc_scale_by(u64 ratio, u64 host_tsc);
/* What restarts of the host's TSC took away, in all */
u64 tsc_host_shift(void);
/* The offset, with restarts of the host's TSC that the vCPU has not made up for yet. Any thread. */
u64 tsc_offset_now(const struct vcpu *v);
/* A new offset, told to the control block */
void tsc_set_offset(struct vcpu *v, u64 offset);
/* KVM_SET_MSRS(TSC): vCPUs written alike are put in step */
void tsc_write_host(struct vcpu *v, u64 val);
/*
 * KVM_SET_TSC_KHZ; the guest's TSC goes on from where it is. 0, or -EINVAL: this host cannot run at
 * that rate.
 */
int tsc_set_khz(struct vcpu *v, u32 khz);

/*
 * The vCPU is loaded, and put: where host TSCs differ or restarted during suspend, the guest's does
 * not go back. Preemption off. tsc_load() may call backend set_tsc.
 */
void tsc_load(struct vcpu *v);
void tsc_put(struct vcpu *v);

/*
 * This CPU goes offline or the host suspends; it comes back. Interrupts off: from
 * arch_hardware_disable() and arch_hardware_enable(). A host TSC found lower than it was has been
 * restarted: all guests make up for it alike.
 */
void tsc_host_off(void);
void tsc_host_on(void);

void tsc_vm_init(struct vm *vm);
void tsc_vcpu_init(struct vcpu *v);


#endif
