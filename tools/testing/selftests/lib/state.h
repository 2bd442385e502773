/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything of a VM and its vCPUs that the ioctls show, in parts that may be set in any order,
 * into a new VM or over one that lives. Guest memory is not copied: the VMs share it.
 */
#ifndef STRATA_SELFTEST_STATE_H
#define STRATA_SELFTEST_STATE_H

#include "vm.h"

enum state_part {
	PART_REGS,
	PART_SREGS,
	PART_MSRS,
	PART_XCRS,
	PART_XSAVE,
	PART_DEBUGREGS,
	PART_EVENTS,
	PART_MP_STATE,
	PART_LAPIC,
	PART_SLOTS,
	/* The rest has no neighbours of its own in the sequences of VMMs. */
	PART_NESTED,
	PART_TSC,
	PART_IRQCHIP,
	PART_PIT,
	PART_CLOCK,
	NR_PARTS,
};

extern const char *const state_part_names[NR_PARTS];
/* In which QEMU sets them */
extern const u8 state_qemu_order[NR_PARTS];

enum vm_irqchip { CHIP_NONE, CHIP_SPLIT, CHIP_FULL };

/* The set-up calls, which come before any state. */
struct vm_config {
	unsigned int nr_vcpus;
	enum vm_irqchip irqchip;
	bool payload;		/* KVM_CAP_EXCEPTION_PAYLOAD */
	bool triple_fault;	/* KVM_CAP_X86_TRIPLE_FAULT_EVENT */
	bool strata_events;	/* STRATA_CAP_EVENTS */
	bool each;		/* STRATA_CAP_EXIT_EACH */
	u64 msr_exits;		/* KVM_CAP_X86_USER_SPACE_MSR */
};

#define MAX_MSRS	250
#define NESTED_MAX	12416

struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_sregs2 sregs2;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct kvm_lapic_state lapic;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[MAX_MSRS];
	} msrs;
	u64 tsc_offset;
	union {
		struct kvm_nested_state nested;
		u8 nested_bytes[NESTED_MAX];
	};
};

struct vm_state {
	struct kvm_userspace_memory_region slot[MAX_SLOTS];
	struct kvm_irqchip irqchip[3];
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
	struct vcpu_state vcpu[MAX_VCPUS];
};

/*
 * A VM as configured, with vCPUs. With @memory_of it has that VM's memory, but no slot yet; else
 * its own, as vm_create() makes it.
 */
struct vm *vm_create_with(const struct vm_config *config, struct vm *memory_of);

/* All parts, got in the given order, or in the enumeration's with NULL. */
void state_save(struct vm *vm, const struct vm_config *config, const u8 *order, struct vm_state *s);
/*
 * Sets the parts in the order given, each for all vCPUs. SREGS by either of its ioctls, as @sregs2
 * says.
 */
void state_restore(struct vm *vm, const struct vm_config *config, const u8 *order, bool sregs2,
		   const struct vm_state *s);
/* One part alone: 0 or -errno. */
int state_set_part(struct vm *vm, unsigned int vcpu, enum state_part part, bool sregs2,
		   const struct vm_state *s);

/*
 * The number of parts that differ; each is reported with @what, as a failure. What moves by itself
 * is left out: the TSC and the clock, and of a running timer its count.
 */
unsigned int state_differs(const char *what, const struct vm_config *config,
			   const struct vm_state *a, const struct vm_state *b);

/* xorshift64*: the same seed gives the same sequence everywhere */
u64 next_random(u64 *seed);
/* A permutation of all parts */
void state_shuffle(u64 *seed, u8 *order);
/* An unsigned number from the environment */
u64 env_number(const char *name, u64 otherwise);

/*
 * Guest memory that programs of the tests write: low tables, stacks, the program's own data, the
 * heap's first pages.
 */
struct ram_image {
	u8 *bytes;
};

void ram_save(struct vm *vm, struct ram_image *ram);
void ram_restore(struct vm *vm, const struct ram_image *ram);
u64 ram_digest(struct vm *vm);
/* Prints the first words that are not as in the image. */
void ram_show(struct vm *vm, const struct ram_image *ram);

#endif
