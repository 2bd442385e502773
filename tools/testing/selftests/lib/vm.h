/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VMs, vCPUs and memory slots over the raw ioctls.
 *
 * Guest code is C in the test program itself: vm_create() copies the program's own loaded segments
 * into slot 0 at their link address, which the guest's page tables map one to one. So a guest
 * function runs at the address the host knows it by, on a copy of the program's data; guest_var()
 * finds the guest's copy of a variable.
 */
#ifndef STRATA_SELFTEST_VM_H
#define STRATA_SELFTEST_VM_H

#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "kvm_abi.h"
#include "tap.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define MAX_VCPUS	4
#define MAX_SLOTS	8	/* the first four of each address space */

/* Guest-physical layout of slot 0. The program is linked at 4 MiB. */
#define GPA_GDT		0x1000ull
#define GPA_IDT		0x2000ull
#define GPA_TSS		0x3000ull
#define GPA_CPU		0x4000ull
#define GPA_PAYLOAD	0x8000ull
#define GPA_TABLES	0x20000ull
#define GPA_STACKS	0x100000ull
#define GPA_HEAP	0x800000ull
#define SLOT0_SIZE	0x1000000ull

#define STACK_SIZE	0x10000ull

struct vcpu {
	struct vm *vm;
	int fd;
	unsigned int id;
	struct kvm_run *run;
	size_t run_size;
};

struct vm {
	int kvm;
	int fd;
	u8 *mem;
	bool mem_lent;		/* another VM's, which outlives this one */
	u64 next_table;
	struct vcpu vcpu[MAX_VCPUS];
	/* What vm_set_slot() made of the first slots; no ioctl tells. */
	struct kvm_userspace_memory_region slot[MAX_SLOTS];
};

/* Like ioctl(), but an error is returned as -errno. */
int kvm_ioctl(int fd, unsigned long cmd, void *arg);
#define kvm_ioctl_val(fd, cmd, val) kvm_ioctl(fd, cmd, (void *)(unsigned long)(val))

/* Ends the case with the caller's line if the ioctl fails; returns its value. */
int kvm_ioctl_or_die(const char *file, int line, const char *name, int fd, unsigned long cmd,
		     void *arg);
#define xioctl(fd, cmd, arg) kvm_ioctl_or_die(__FILE__, __LINE__, #cmd, fd, cmd, (void *)(arg))

int kvm_open(void);
int kvm_cap(int fd, long cap);
void need_cap(long cap, const char *name);
#define NEED_CAP(cap) need_cap(cap, #cap)

/* A VM with slot 0 and the program in it, and vCPUs with the supported CPUID. */
struct vm *vm_create(unsigned int nr_vcpus);
/* The same, but nothing but the file descriptors: no memory, no CPUID. */
struct vm *vm_create_bare(unsigned int nr_vcpus);
void vm_destroy(struct vm *vm);
struct vcpu *vcpu_create(struct vm *vm, unsigned int id);

/* Returns 0 or -errno. */
int vm_set_slot(struct vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *hva);
void *host_alloc(size_t size, size_t align);
void *gpa_to_host(struct vm *vm, u64 gpa);
/* The guest's copy of a variable of this program, as the host reaches it. */
#define guest_var(vm, ptr) ((__typeof__(ptr))gpa_to_host(vm, (u64)(ptr)))

struct kvm_cpuid2 *supported_cpuid(int kvm);
struct kvm_cpuid_entry2 *cpuid_entry(struct kvm_cpuid2 *cpuid, u32 function, u32 index);

/* Return what the ioctl returns: 1 if the MSR was taken, 0 if not, or -errno. */
int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *value);
int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 value);

/* One KVM_RUN: 0 or -errno, nothing judged. */
int vcpu_run_raw(struct vcpu *vcpu);
/*
 * The same under immediate_exit: what userspace has answered is completed, what it has set is
 * settled, nothing is executed.
 */
int vcpu_run_nothing(struct vcpu *vcpu);

#endif
