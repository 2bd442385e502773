// SPDX-License-Identifier: GPL-2.0
/*
 * What: pages of L1 that the module itself writes, by #VMEXIT and by VMSAVE, and the dirty log that
 * userspace takes in the middle of such a write.
 * Conditions: SVM offered to guests; userfaultfd, which holds up the write.
 * Expected: the page is in the log that is taken behind the write, whatever an earlier one said.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "svm.h"

#define PAGES (SLOT0_SIZE / 4096)

static void l2_leaves(void)
{
	out8(0x30, 0);
	vmmcall();
}

static void guest_runs_l2(void)
{
	svm_guest_init(l2_leaves);
	GUEST_ASSERT_EQ(svm_vmrun(&svm_vmcb), ICPT_VMMCALL);
	guest_done();
}

static void guest_saves(void)
{
	svm_guest_init(l2_leaves);
	svm_vmcb.kernel_gs_base = 0;
	wrmsr(0xc0000102, 0x1234567);
	out8(0x30, 0);
	asm volatile("vmsave %0" : : "a"(&svm_vmcb) : "memory");
	GUEST_ASSERT_EQ(svm_vmcb.kernel_gs_base, 0x1234567);
	guest_done();
}

static void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

static bool in_log(struct vm *vm, u64 gpa)
{
	static u64 bitmap[PAGES / 64];
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };

	xioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	return bitmap[gpa / 4096 / 64] >> gpa / 4096 % 64 & 1;
}

/* Takes the page away. Returns what tells of those who want it. */
static int take_page(void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING, .range = { (u64)page, 4096 } };
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0)
		tap_skip("no userfaultfd");
	REQUIRE_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
	REQUIRE_EQ(madvise(page, 4096, MADV_DONTNEED), 0);
	return uffd;
}

static void log_amid_write(void *fn)
{
	static u8 copy[4096] __attribute__((aligned(4096)));
	u64 gpa = (u64)&svm_vmcb;
	struct uffd_msg msg;
	pthread_t thread;
	struct vm *vm;
	u8 *page;
	int uffd;

	need_svm();
	vm = vm_create(1);
	page = gpa_to_host(vm, gpa);
	madvise(vm->mem, SLOT0_SIZE, MADV_NOHUGEPAGE);
	vcpu_set_long(vm->vcpu, fn, 0);
	RUN_UNTIL(vm->vcpu, KVM_EXIT_IO);
	REQUIRE_EQ(vm->vcpu->run->io.port, 0x30);
	REQUIRE_EQ(vm_set_slot(vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, SLOT0_SIZE, vm->mem), 0);
	memcpy(copy, page, sizeof(copy));
	uffd = take_page(page);
	in_log(vm, gpa);
	pthread_create(&thread, NULL, run_to_done, vm->vcpu);
	REQUIRE_EQ(poll(&(struct pollfd){ .fd = uffd, .events = POLLIN }, 1, 30000), 1);
	REQUIRE_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	REQUIRE_EQ(msg.arg.pagefault.address & ~4095ull, (u64)page);
	in_log(vm, gpa);
	REQUIRE_EQ(ioctl(uffd, UFFDIO_COPY, &(struct uffdio_copy){ .dst = (u64)page, .src = (u64)copy, .len = 4096 }), 0);
	pthread_join(thread, NULL);
	CHECK(memcmp(copy, page, sizeof(copy)));
	CHECK(in_log(vm, gpa));
	close(uffd);
	vm_destroy(vm);
}

TEST(exit_of_l2)
{
	log_amid_write(guest_runs_l2);
}

TEST(vmsave)
{
	log_amid_write(guest_saves);
}
