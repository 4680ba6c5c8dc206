/* Spends half of its time in vfork(2): what posix_spawn(3) and shells do for an instant, for long enough to be caught at it. */
#include <unistd.h>

int main(void)
{
	for (;;) {
		if (vfork() == 0) {
			usleep(15000);
			_exit(0);
		}
		usleep(15000);
	}
}
