/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of a virtual machine that is not x86: file descriptors, lifetime, memory slots,
 * requests.
 *
 * The architecture embeds struct virt_vm and struct virt_vcpu in its own structures and implements
 * virt/arch.h.
 *
 * Field legend: (c) constant after creation, (v) vCPU thread under vcpu->mutex, (m) vm->lock, (s)
 * vm->slots_lock for writing and vm->srcu for reading, (n) vm->mmu_lock, (a) atomic.
 */
#ifndef STRATA_VIRT_H
#define STRATA_VIRT_H

#include <linux/kvm.h>
#include <linux/mm_types.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcuwait.h>
#include <linux/refcount.h>
#include <linux/signal_types.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "eventfd.h"
#include "iobus.h"
#include "slots.h"
#include "stats.h"

#define VIRT_MAX_VCPUS		1024
#define VIRT_MAX_VCPU_IDS	4096

/*
 * What a vCPU descriptor maps: struct kvm_run, the port I/O page, and the VM's ring of coalesced
 * MMIO.
 */
#define VIRT_RUN_PAGES		3
#define VIRT_RUN_ORDER		1	/* the first two */

struct virt_coalesced;

/**
 * struct virt_vm - one virtual machine
 * @mm: (c) the address space all memory slots refer to
 * @refs: (a) open VM and vCPU descriptors, and whoever else needs the VM
 * @lock: vCPU creation and VM-wide settings
 * @slots_lock: changes of the memory slots, dirty logging
 * @srcu: readers of @slots
 * @slots: (s) one sorted array per address space
 * @leaving: (n) a slot that is in no array any more, and whose pages may still be mapped
 * @notifier: (c) MMU notifier of @mm
 * @mmu_lock: nested page tables: shared to install leaves, exclusive to remove them
 * @inval_seq: (n) counts finished invalidations
 * @inval_count: (n) invalidations in progress
 * @inval_first: (n) lowest HVA being invalidated
 * @inval_last: (n) highest HVA being invalidated, inclusive
 * @vcpus: (m) to write, RCU to read: by index 0..@nr_vcpus-1
 * @nr_vcpus: (m) to write: published after the xarray entry
 * @bugged: (a) a state that cannot be was seen; every ioctl gives -EIO
 * @manual_protect: (m) KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 flags
 * @coalesced: (s) coalesced MMIO zones and ring
 * @iobus: (s) devices in the kernel, NULL without any
 * @doorbells: (a) some of the bus need not sleep
 * @irqfds: eventfds that raise interrupts, see there
 * @stats: (a) counters
 * @stats_id: (c) name in the binary statistics
 */
struct virt_vm {
	struct mm_struct *mm;
	refcount_t refs;
	struct mutex lock;
	struct mutex slots_lock;
	struct srcu_struct srcu;
	struct virt_slots __rcu *slots[VIRT_ADDRESS_SPACES];
	const struct virt_slot *leaving;
	struct mmu_notifier notifier;
	rwlock_t mmu_lock;
	unsigned long inval_seq;
	long inval_count;
	unsigned long inval_first;
	unsigned long inval_last;
	struct xarray vcpus;
	unsigned int nr_vcpus;
	bool bugged;
	u64 manual_protect;
	struct virt_coalesced *coalesced;
	struct virt_iobus __rcu *iobus[VIRT_NR_BUSES];
	bool doorbells[VIRT_NR_BUSES];
	struct virt_irqfds irqfds;
	struct virt_vm_stats stats;
	char stats_id[48];
};

/* virt_vcpu.mode: where the vCPU's thread is. Written by it; read by those that kick. */
enum virt_mode {
	VIRT_OUTSIDE,
	VIRT_IN_GUEST,	/* interrupts are off or the guest runs: an IPI makes it look at its requests */
	VIRT_READING,	/* walks nested page tables with interrupts off */
};

/* Requests every architecture has; arch ones start at VIRT_REQ_ARCH. */
#define VIRT_REQ_TLB_FLUSH	0
#define VIRT_REQ_DEAD		1	/* the VM is bugged */
#define VIRT_REQ_KICK		2	/* look at the inbox, at signals, at nothing in particular */
#define VIRT_REQ_OFF		3	/* the CPU's virtualization went off: stays set */
#define VIRT_REQ_ARCH		8

/**
 * struct virt_vcpu - one virtual CPU
 * @vm: (c)
 * @id: (c) userspace's number
 * @index: (c) 0..nr_vcpus-1
 * @mutex: one ioctl at a time
 * @run: (c) the page shared with userspace, followed by the PIO page
 * @mode: (a) enum virt_mode
 * @requests: (a) VIRT_REQ_* bits
 * @cpu: (v) where it is loaded, or -1
 * @last_cpu: (v) where it was loaded last
 * @as_id: (v) address space in use
 * @last_slot: (v) last hit of a slot lookup
 * @last_slots: (v) the array @last_slot came from
 * @srcu_index: (v) read-side token of vm->srcu while in KVM_RUN
 * @loaded: (v) between virt_vcpu_load() and virt_vcpu_put()
 * @wants_run: (v) KVM_RUN, and not with immediate_exit
 * @spin_next: (v) index of the vCPU that virt_vcpu_spins() looked at last
 * @pid: thread that last ran it, RCU
 * @preempt: (v) notifier while loaded
 * @wait: where a halted vCPU's thread sleeps
 * @sigset_active: (v) @sigset replaces the thread's mask during KVM_RUN
 * @sigset: (v)
 * @stats: (v) counters
 * @stats_id: (c) name in the binary statistics
 */
struct virt_vcpu {
	struct virt_vm *vm;
	unsigned int id;
	unsigned int index;
	struct mutex mutex;
	struct kvm_run *run;
	int mode;
	unsigned long requests;
	int cpu;
	int last_cpu;
	u8 as_id;
	struct virt_slot *last_slot;
	struct virt_slots *last_slots;
	int srcu_index;
	bool loaded;
	bool wants_run;
	unsigned int spin_next;
	struct pid __rcu *pid;
	struct preempt_notifier preempt;
	struct rcuwait wait;
	bool sigset_active;
	sigset_t sigset;
	struct virt_vcpu_stats stats;
	char stats_id[48];
};

#define virt_for_each_vcpu(index, vcpu, vm) \
	for (index = 0; (vcpu = virt_vcpu_at(vm, index)) != NULL; index++)

/**
 * virt_vcpu_at() - vCPU by index
 * @vm: the machine
 * @index: 0..
 *
 * Return: the vCPU, or NULL from nr_vcpus on. vCPUs live as long as their VM.
 */
struct virt_vcpu *virt_vcpu_at(struct virt_vm *vm, unsigned int index);

/* Lifetime (virt/vm.c). A VM is freed when the last reference goes. */
void virt_vm_get(struct virt_vm *vm);
void virt_vm_put(struct virt_vm *vm);
long virt_vm_create(unsigned long type);

/**
 * virt_vm_bugged() - give up on a VM
 * @vm: the machine
 *
 * For states that cannot be: one WARN, and every later ioctl on the VM gives -EIO. Any context but
 * NMI.
 */
void virt_vm_bugged(struct virt_vm *vm);

/* vCPUs (virt/vcpu.c) */
long virt_vcpu_create(struct virt_vm *vm, unsigned int id);
void virt_vcpu_destroy_all(struct virt_vm *vm);

/**
 * virt_vcpu_load() - make the vCPU current on this CPU
 * @v: the vCPU, its mutex held
 *
 * From here to virt_vcpu_put() the backend's state follows the thread over preemption.
 */
void virt_vcpu_load(struct virt_vcpu *v);
void virt_vcpu_put(struct virt_vcpu *v);

/*
 * The read side of vm->srcu, which KVM_RUN (and ioctls with IOCTL_SRCU) hold but where the thread
 * runs the guest or sleeps.
 */
static inline void virt_srcu_resume(struct virt_vcpu *v)
{
	v->srcu_index = srcu_read_lock(&v->vm->srcu);
	__release(&v->vm->srcu);	/* sparse cannot follow it across functions */
}

static inline void virt_srcu_pause(struct virt_vcpu *v)
{
	__acquire(&v->vm->srcu);
	srcu_read_unlock(&v->vm->srcu, v->srcu_index);
}

/**
 * virt_vcpu_yield_to() - give the CPU to a vCPU's thread, if that waits for one
 * @v: not the caller's own
 *
 * Context: may sleep.
 * Return: true if it has got it.
 */
bool virt_vcpu_yield_to(struct virt_vcpu *v);

/**
 * virt_vcpu_spins() - the caller's vCPU waits for another one, nobody knows for which
 * @v: the caller's
 *
 * A vCPU whose thread has been preempted gets the CPU, each in its turn. Context: may sleep.
 */
void virt_vcpu_spins(struct virt_vcpu *v);

/* virt_kick() of one that sleeps or is in the guest */
void virt_kick_there(struct virt_vcpu *v);

/**
 * virt_kick() - make a vCPU look at its requests soon
 * @v: the vCPU; set the request bit before
 *
 * Wakes a sleeping thread; interrupts a running guest. Any context but NMI.
 */
static inline void virt_kick(struct virt_vcpu *v)
{
	/*
	 * The thread goes to sleep, or sets IN_GUEST, before it looks at its requests; the kicker
	 * sets the request before it looks for a sleeper and at the mode: one of them sees the
	 * other.
	 */
	smp_mb();
	if (rcuwait_active(&v->wait) || READ_ONCE(v->mode) == VIRT_IN_GUEST)
		virt_kick_there(v);
}

/**
 * virt_request() - set a request bit
 * @v: the vCPU
 * @bit: VIRT_REQ_*
 *
 * Ordered before a following virt_kick().
 */
static inline void virt_request(struct virt_vcpu *v, unsigned int bit)
{
	/*
	 * The data the request is about is written before the bit; pairs with the barrier in
	 * virt_take_request().
	 */
	smp_wmb();
	set_bit(bit, &v->requests);
}

/**
 * virt_take_request() - test and clear a request bit
 * @v: the vCPU, its own thread
 * @bit: VIRT_REQ_*
 */
static inline bool virt_take_request(struct virt_vcpu *v, unsigned int bit)
{
	if (!test_bit(bit, &v->requests))
		return false;
	clear_bit(bit, &v->requests);
	/* Pairs with virt_request(): what was written before the bit is seen after it. */
	smp_mb__after_atomic();
	return true;
}

/**
 * virt_request_all() - set a request on every vCPU and wait until none is in the guest without
 * having seen it
 * @vm: the machine
 * @bit: VIRT_REQ_*
 *
 * Context: may spin for other CPUs; interrupts on or a lock held, never with interrupts off.
 */
void virt_request_all(struct virt_vm *vm, unsigned int bit);

/* Hardware on and off on every CPU (virt/hardware.c) */
int virt_hardware_init(void);
void virt_hardware_exit(void);
int virt_hardware_get(void);
void virt_hardware_put(void);

/**
 * virt_hardware_load() - a vCPU is about to be loaded on this CPU
 * @v: the vCPU
 *
 * It learns by VIRT_REQ_OFF that virtualization is off here, or goes off before
 * virt_hardware_unload(): whoever looks at its requests with interrupts off, and finds none, has
 * virtualization until interrupts come on. Context: preemption off.
 */
void virt_hardware_load(struct virt_vcpu *v);
void virt_hardware_unload(void);

/* The char device (virt/dev.c), and the rows of the other two descriptors */
int virt_dev_init(void);
void virt_dev_exit(void);
int virt_vm_ioctls_init(void);
int virt_vcpu_ioctls_init(void);

#endif
