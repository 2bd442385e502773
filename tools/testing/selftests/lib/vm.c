// SPDX-License-Identifier: GPL-2.0
/*
 * VMs, vCPUs and memory slots over the raw ioctls; see vm.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emulator.h"
#include "guest.h"
#include "vm.h"

int kvm_ioctl(int fd, unsigned long cmd, void *arg)
{
	int r = ioctl(fd, cmd, arg);

	return r < 0 ? -errno : r;
}

int kvm_ioctl_or_die(const char *file, int line, const char *name, int fd, unsigned long cmd,
		     void *arg)
{
	int r = kvm_ioctl(fd, cmd, arg);

	if (r < 0)
		tap_die(file, line, "%s failed: %s", name, strerror(-r));
	return r;
}

int kvm_open(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENODEV))
		tap_skip("no /dev/kvm");
	if (fd < 0)
		tap_die(__FILE__, __LINE__, "open /dev/kvm: %s", strerror(errno));
	return fd;
}

int kvm_cap(int fd, long cap)
{
	return kvm_ioctl_val(fd, KVM_CHECK_EXTENSION, cap);
}

void need_cap(long cap, const char *name)
{
	int fd = kvm_open();
	int r = kvm_cap(fd, cap);

	close(fd);
	if (r <= 0)
		tap_skip("%s not offered", name);
}

void *host_alloc(size_t size, size_t align)
{
	u8 *p = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(p != MAP_FAILED);
	return (void *)(((u64)p + align - 1) & ~(align - 1));
}

int vm_set_slot(struct vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (u64)hva,
	};

	u32 index = (u16)slot + (slot >> 16) * MAX_SLOTS / 2;
	int r = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);

	if (!r && (u16)slot < MAX_SLOTS / 2 && index < MAX_SLOTS)
		vm->slot[index] = region;
	return r;
}

void *gpa_to_host(struct vm *vm, u64 gpa)
{
	REQUIRE(gpa < SLOT0_SIZE);
	return vm->mem + gpa;
}

struct kvm_cpuid2 *supported_cpuid(int kvm)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));

	cpuid->nent = 256;
	xioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	return cpuid;
}

struct kvm_cpuid_entry2 *cpuid_entry(struct kvm_cpuid2 *cpuid, u32 function, u32 index)
{
	u32 i;

	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	return NULL;
}

struct vcpu *vcpu_create(struct vm *vm, unsigned int id)
{
	struct vcpu *vcpu = &vm->vcpu[id];

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = xioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	vcpu->run_size = xioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	REQUIRE(vcpu->run != MAP_FAILED);
	return vcpu;
}

struct vm *vm_create_bare(unsigned int nr_vcpus)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	unsigned int i;

	vm->kvm = kvm_open();
	/* A signal may interrupt the registration of the VM's mm. */
	do
		vm->fd = kvm_ioctl(vm->kvm, KVM_CREATE_VM, 0);
	while (vm->fd == -EINTR);
	REQUIRE(vm->fd >= 0);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_create(vm, i);
	return vm;
}

static int load_segments(struct dl_phdr_info *info, size_t size, void *data)
{
	struct vm *vm = data;
	int i;

	(void)size;
	/* A static program's own headers come first and with base 0. */
	for (i = 0; i < info->dlpi_phnum && !info->dlpi_addr; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_LOAD)
			continue;
		REQUIRE(ph->p_vaddr + ph->p_memsz <= GPA_HEAP);
		memcpy(vm->mem + ph->p_vaddr, (void *)ph->p_vaddr, ph->p_memsz);
	}
	return 1;
}

struct vm *vm_create(unsigned int nr_vcpus)
{
	struct vm *vm = vm_create_bare(nr_vcpus);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	unsigned int i;

	vm->mem = host_alloc(SLOT0_SIZE, 2 << 20);
	vm->next_table = GPA_TABLES;
	guest_under_tcg = host_is_tcg();
	guest_loses_cr2 = host_is_bochs_svm();
	dl_iterate_phdr(load_segments, vm);
	REQUIRE_EQ(vm_set_slot(vm, 0, 0, 0, SLOT0_SIZE, vm->mem), 0);
	for (i = 0; i < nr_vcpus; i++)
		xioctl(vm->vcpu[i].fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	return vm;
}

void vm_destroy(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < MAX_VCPUS; i++) {
		if (!vm->vcpu[i].run)
			continue;
		munmap(vm->vcpu[i].run, vm->vcpu[i].run_size);
		close(vm->vcpu[i].fd);
	}
	close(vm->fd);
	close(vm->kvm);
	if (vm->mem && !vm->mem_lent)
		munmap(vm->mem, SLOT0_SIZE);
	free(vm);
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry.index = index };
	int r = kvm_ioctl(vcpu->fd, KVM_GET_MSRS, &msr);

	*value = msr.entry.data;
	return r;
}

int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	return kvm_ioctl(vcpu->fd, KVM_SET_MSRS, &msr);
}

int vcpu_run_raw(struct vcpu *vcpu)
{
	return kvm_ioctl(vcpu->fd, KVM_RUN, NULL);
}

int vcpu_run_nothing(struct vcpu *vcpu)
{
	int r;

	vcpu->run->immediate_exit = 1;
	r = vcpu_run_raw(vcpu);
	vcpu->run->immediate_exit = 0;
	return r;
}
