// SPDX-License-Identifier: GPL-2.0
/*
 * What: file descriptors closed in every order, kept alive by mappings and dup, used from a forked
 * child (another mm), vCPU ids twice and out of range, vCPUs created and closed again.
 * Conditions: none.
 * Expected: a VM lives as long as any of its descriptors; another mm gets -EIO; the module's use
 * count returns to what it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"

static void guest_count(void)
{
	u64 i;

	for (i = 1;; i++)
		guest_sync(i);
}

/* The order is a number in the factorial system over kvm, VM, vCPU and run mapping. */
static void close_in_order(unsigned int order)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	unsigned int i, pick, left[4] = { 0, 1, 2, 3 }, vcpu_open = 1, run_mapped = 1;

	vcpu_set_long(vcpu, guest_count, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	for (i = 0; i < 4; i++) {
		pick = order % (4 - i);
		order /= 4 - i;
		switch (left[pick]) {
		case 0:
			close(vm->kvm);
			break;
		case 1:
			close(vm->fd);
			break;
		case 2:
			close(vcpu->fd);
			vcpu_open = 0;
			break;
		case 3:
			munmap(vcpu->run, vcpu->run_size);
			run_mapped = 0;
			break;
		}
		left[pick] = left[3 - i];
		if (vcpu_open && run_mapped)
			RUN_UNTIL_SYNC(vcpu, i + 2);
		else if (vcpu_open)
			CHECK_EQ(vcpu_run_raw(vcpu), 0);
		else if (run_mapped)
			CHECK_EQ(vcpu->run->exit_reason, KVM_EXIT_IO);
	}
	munmap(vm->mem, SLOT0_SIZE);
}

TEST(any_order)
{
	unsigned int order;

	for (order = 0; order < 24; order++)
		close_in_order(order);
}

TEST(dup_and_pass_on)
{
	struct vm *vm = vm_create(1);
	struct vcpu *vcpu = vm->vcpu;
	int fd = dup(vcpu->fd);

	vcpu_set_long(vcpu, guest_count, 0);
	RUN_UNTIL_SYNC(vcpu, 1);
	close(vcpu->fd);
	vcpu->fd = fd;
	RUN_UNTIL_SYNC(vcpu, 2);
	vm_destroy(vm);
}

static void check_child(void (*fn)(struct vm *), struct vm *vm)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		fn(vm);
		_exit(0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

static void use_in_other_mm(struct vm *vm)
{
	struct kvm_regs regs;

	CHECK_EQ(kvm_ioctl(vm->vcpu->fd, KVM_GET_REGS, &regs), -EIO);
	CHECK_EQ(vcpu_run_raw(vm->vcpu), -EIO);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, 1), -EIO);
	CHECK_EQ(vm_set_slot(vm, 1, 0, 1ull << 32, 4096, vm->mem), -EIO);
	CHECK_EQ(kvm_cap(vm->fd, KVM_CAP_USER_MEMORY), -EIO);
	/* The system descriptor belongs to nobody. */
	CHECK_EQ(kvm_ioctl(vm->kvm, KVM_GET_API_VERSION, NULL), 12);
}

TEST(fork_gets_eio)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_count, 0);
	RUN_UNTIL_SYNC(vm->vcpu, 1);
	check_child(use_in_other_mm, vm);
	RUN_UNTIL_SYNC(vm->vcpu, 2);
	vm_destroy(vm);
}

/* The last descriptor is closed by a child, after the creator's mm has gone. */
TEST(child_outlives_parent)
{
	int pipes[2], status;
	char c = 0;
	pid_t pid;

	REQUIRE(!pipe(pipes));
	pid = fork();
	if (!pid) {
		struct vm *vm = vm_create(1);

		vcpu_set_long(vm->vcpu, guest_count, 0);
		RUN_UNTIL_SYNC(vm->vcpu, 1);
		if (!fork()) {
			close(pipes[0]);
			while (getppid() != 1)
				usleep(1000);
			use_in_other_mm(vm);
			vm_destroy(vm);
			c = 'k';
			_exit(write(pipes[1], &c, 1) != 1);
		}
		_exit(0);
	}
	close(pipes[1]);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(read(pipes[0], &c, 1), 1);
	CHECK_EQ(c, 'k');
}

TEST(vcpu_ids)
{
	struct vm *vm = vm_create_bare(1);
	int max = kvm_cap(vm->kvm, KVM_CAP_MAX_VCPU_ID), fd;

	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, 0), -EEXIST);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, max), -EINVAL);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, -1), -EINVAL);
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, 1ull << 32 | 1), -EINVAL);
	fd = kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, max - 1);
	CHECK(fd >= 0);
	close(fd);
	/* Closing does not remove the vCPU from its VM. */
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, max - 1), -EEXIST);
	vm_destroy(vm);
}

/* As many as KVM_CAP_MAX_VCPUS says, and not one more */
TEST_TIMEOUT(vcpu_number, 120)
{
	struct vm *vm = vm_create_bare(0);
	int max = kvm_cap(vm->fd, KVM_CAP_MAX_VCPUS), id, fd;

	STRATA_ONLY("the limit of ids may be lower elsewhere");
	REQUIRE(max > 0 && max < kvm_cap(vm->fd, KVM_CAP_MAX_VCPU_ID));
	for (id = 0; id < max; id++) {
		fd = kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, id);
		REQUIRE(fd >= 0);
		close(fd);
	}
	CHECK_EQ(kvm_ioctl_val(vm->fd, KVM_CREATE_VCPU, max), -EINVAL);
	vm_destroy(vm);
}

static long module_refs(void)
{
	static const char * const files[] = {
		"/sys/module/strata/refcnt", "/sys/module/kvm_amd/refcnt",
		"/sys/module/kvm_intel/refcnt",
	};
	unsigned int i;
	long refs = -1;
	FILE *f;

	for (i = 0; i < 3 && refs < 0; i++) {
		f = fopen(files[i], "r");
		if (!f)
			continue;
		if (fscanf(f, "%ld", &refs) != 1)
			refs = -1;
		fclose(f);
	}
	return refs;
}

TEST(module_references)
{
	long before = module_refs(), during;
	struct vm *vm;
	int i;

	if (before < 0)
		tap_skip("no module's reference count to read");
	vm = vm_create(2);
	during = module_refs();
	CHECK(during > before);
	vm_destroy(vm);
	for (i = 0; i < 100 && module_refs() != before; i++)
		usleep(10000);
	CHECK_EQ(module_refs(), before);
}

TEST(vcpu_mapping)
{
	struct vm *vm = vm_create_bare(1);
	struct vcpu *vcpu = vm->vcpu;

	/* Nothing lies behind the advertised size; the mapping may be made twice. */
	CHECK(mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0) !=
	      MAP_FAILED);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, vm->fd, 0) == MAP_FAILED);
	vm_destroy(vm);
}
